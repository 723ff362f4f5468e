-- Adds :jobs jobs with their runs, owners and scripts to a database that contains the seed data.
-- Deterministic for a seed. The distribution resembles a facility's: a few instruments and experiments
-- have most of the runs, one run in ten is reduced again, one job in fifty has no run. What stands in
-- braces depends on the distribution (see generate.rs).
SELECT setseed({seed});

INSERT INTO job_owners (experiment_number)
SELECT 3000000 + n FROM generate_series(1, greatest(:jobs / 100, 1)) n;
INSERT INTO job_owners (user_number)
SELECT 3000000 + n FROM generate_series(1, greatest(:jobs / 1000, 1)) n;

INSERT INTO scripts (script, sha, script_hash)
SELECT 'import os' || E'\n' || repeat('print("reduce", ' || n || ')' || E'\n', 60),
       md5(n::text) || substr(md5(n::text), 1, 8),
       encode(sha512(('generated ' || n)::bytea), 'hex')
FROM generate_series(1, 100) n;

CREATE TEMP TABLE words (n serial, word text);
INSERT INTO words (word)
SELECT unnest('{vanadium,silicon,powder,single crystal,muon,neutron,spin,echo,texture,strain,magnon,
phonon,furnace,cryostat,helium,niobium,elastic,diffuse,background,empty can,transmission,
calibration,ceria,ice,water,protein,polymer,zeolite,battery,weld,alloy,glass}'::text[]);
CREATE TEMP TABLE numbered_instruments AS
SELECT id, instrument_name AS name, row_number() OVER (ORDER BY id) - 1 AS n FROM instruments;
CREATE TEMP TABLE owners AS
SELECT id, row_number() OVER (ORDER BY id) - 1 AS n FROM job_owners
WHERE experiment_number > 3000000;

INSERT INTO runs (filename, instrument_id, title, users, run_start, run_end, good_frames,
                  raw_frames, owner_id)
SELECT '/archive/NDX' || numbered_instruments.name || '/Instrument/data/cycle_' || to_char(started, 'YY') || '_'
         || 1 + run.n % 5 || '/' || numbered_instruments.name || lpad(run.n::text, 8, '0') || '.nxs',
       numbered_instruments.id,
       a.word || ' ' || b.word || ' ' || (run.n % 300) || 'K run ' || run.n,
       'Person ' || run.n % 500 || ', Person ' || run.n % 700,
       started,
       started + interval '1 minute' * (1 + run.n % 240),
       run.n % 1000 * 919, run.n % 1000 * 919 + 1000,
       owners.id
FROM (
  SELECT n,
         timestamp '2015-01-01' + interval '1 second' * floor({position} * 345000000.0)
           + interval '1 microsecond' * (n % 3) * 123456 AS started,
         floor({instrument}) AS instrument_n,
         floor({owner}) AS owner_n,
         1 + floor(random() * 32) AS first_word, 1 + floor(random() * 32) AS second_word
  FROM generate_series(1, :jobs * 9 / 10) n,
       (SELECT count(*)::float8 AS instruments FROM numbered_instruments) counted_instruments,
       (SELECT count(*)::float8 AS owners FROM owners) counted_owners
) run
JOIN numbered_instruments ON numbered_instruments.n = instrument_n
JOIN owners ON owners.n = owner_n
JOIN words a ON a.n = first_word
JOIN words b ON b.n = second_word;

CREATE TEMP TABLE generated_runs AS
SELECT id, run_end, owner_id, instrument_id, row_number() OVER (ORDER BY {order}) AS n FROM runs
WHERE filename LIKE '/archive/NDX%' AND users LIKE 'Person %';
CREATE INDEX ON generated_runs (n);
ANALYZE generated_runs;

INSERT INTO jobs (start, "end", state, status_message, inputs, script_id, outputs, stacktrace,
                  runner_image, owner_id, instrument_id, job_type, run_id)
SELECT CASE WHEN state <> 'NOT_STARTED' THEN started END,
       CASE WHEN state <> 'NOT_STARTED' THEN started + interval '1 second' * (20 + n % 900) END,
       state::state,
       CASE state WHEN 'ERROR' THEN 'RuntimeError: no good frames' WHEN 'SUCCESSFUL' THEN '' END,
       jsonb_build_object('runno', n, 'ei', '''auto''', 'sam_mass', n % 10 / 4.0, 'monovan', 0,
                          'remove_bkg', n % 2 = 0, 'git_sha', substr(md5(n::text), 1, 10)),
       (SELECT min(id) FROM scripts) + n % 100,
       CASE state WHEN 'SUCCESSFUL' THEN '[''MAR' || n || '_10.5meV.nxspe'', ''MAR' || n || '.nxs'']'
                  WHEN 'ERROR' THEN '' END,
       CASE state WHEN 'ERROR' THEN repeat('  File "reduce.py", line ' || n % 99 || E'\n', 20) END,
       'ghcr.io/fiaisis/mantid@sha256:' || md5((n % 7)::text),
       owner_id, instrument_id, job_type::jobtype, run_id
FROM (
  SELECT numbered.n,
         CASE WHEN numbered.n % {states} < {states} - 20 THEN 'SUCCESSFUL'
              WHEN numbered.n % {states} < {states} - 10 THEN 'ERROR'
              WHEN numbered.n % {states} < {states} - 5 THEN 'UNSUCCESSFUL'
              ELSE 'NOT_STARTED' END AS state,
         CASE WHEN numbered.n % 50 = 7 THEN 'SIMPLE' WHEN numbered.n > :jobs * 9 / 10 THEN 'RERUN'
              ELSE 'AUTOREDUCTION' END AS job_type,
         CASE WHEN numbered.n % 50 <> 7 THEN generated_runs.id END AS run_id,
         CASE WHEN numbered.n % 50 <> 7 THEN generated_runs.instrument_id END AS instrument_id,
         generated_runs.owner_id,
         generated_runs.run_end + interval '1 second' * {delay} AS started
  FROM (
    SELECT n, CASE WHEN n <= :jobs * 9 / 10 THEN n
                   ELSE 1 + floor(random() * (:jobs * 9 / 10)) END AS run_n
    FROM generate_series(1, :jobs) n
  ) numbered JOIN generated_runs ON generated_runs.n = run_n
) job;

DROP TABLE words, numbered_instruments, owners, generated_runs;

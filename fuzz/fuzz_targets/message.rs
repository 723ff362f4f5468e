//! Messages to the consumers that run jobs: JSON with what was sent, in ASCII.
#![no_main]

use arbitrary::Arbitrary;
use fia_api::model::{Message, Program, RunData};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

#[derive(Debug, Arbitrary)]
struct Input {
    runner_image: String,
    script: String,
    filename: String,
    instrument: String,
    rb_number: Option<i32>,
    job_id: i32,
    user_number: i32,
}

fuzz_target!(|input: Input| {
    let program = Program {
        runner_image: input.runner_image,
        script: input.script,
    };
    let run = RunData {
        filename: input.filename,
        rb_number: input.rb_number,
        instrument: input.instrument,
    };
    let simple = Message::simple("q", input.job_id, &program, input.user_number);
    let rerun = Message::rerun("q", input.job_id, &program, &run);
    for message in [&simple, &rerun] {
        assert!(message.body.is_ascii());
        let body: Value = serde_json::from_str(&message.body).expect("JSON");
        assert_eq!(body["script"], program.script.as_str());
        assert_eq!(body["runner_image"], program.runner_image.as_str());
        assert_eq!(body["job_id"], input.job_id);
        assert_eq!(message.job_id(), Some(i64::from(input.job_id)));
    }
    let body: Value = serde_json::from_str(&rerun.body).expect("JSON");
    assert_eq!(body["instrument"], run.instrument.as_str());
    assert_eq!(body["rb_number"], run.rb_number.unwrap_or(0));
    let stem = body["filename"].as_str().expect("a name");
    assert!(run.filename.contains(stem));
});

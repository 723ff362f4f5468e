"""Ten calls through the generated client against the demo; see check-openapi.

usage: openapi_calls.py BASE_URL
"""

import sys
import time

import httpx
from fia_api_client import AuthenticatedClient, Client
from fia_api_client.api.files import get_extras_top_level_folders_extras_get as extras
from fia_api_client.api.health import get_healthz_get as healthz
from fia_api_client.api.health import ready_ready_get as ready
from fia_api_client.api.instrument import get_instrument_latest_run_instrument_instrument_latest_run_get as latest_run
from fia_api_client.api.instrument_specifications import (
    get_instrument_specification_instrument_instrument_name_specification_get as specification,
)
from fia_api_client.api.job_creation import get_mantid_runners_jobs_runners_get as runners
from fia_api_client.api.jobs import count_all_jobs_jobs_count_get as count
from fia_api_client.api.jobs import get_job_job_job_id_get as job
from fia_api_client.api.jobs import get_jobs_jobs_get as jobs
from fia_api_client.api.live_data import get_live_data_instruments_live_data_instruments_get as live_data
from fia_api_client.models import CountResponse, GetJobsJobsGetOrderBy, JobWithRunResponse

START_LIMIT = 120.0
# The API key of the demo.
API_KEY = "shh"


def wait_until_ready(base: str) -> None:
    deadline = time.monotonic() + START_LIMIT
    while True:
        try:
            if httpx.get(f"{base}/ready", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        if time.monotonic() > deadline:
            sys.exit("the demo was not ready in time")
        time.sleep(0.2)


def main(base: str) -> None:
    wait_until_ready(base)
    anyone = Client(base_url=f"{base}/api")
    staff = AuthenticatedClient(base_url=f"{base}/api", token=API_KEY)

    assert healthz.sync(client=anyone) == "ok"
    assert ready.sync(client=anyone) == "ok"
    names = live_data.sync(client=anyone)
    assert names and all(isinstance(name, str) for name in names)
    total = count.sync(client=anyone)
    assert isinstance(total, CountResponse) and total.count > 0
    page = jobs.sync(client=staff, limit=5, include_run=True, order_by=GetJobsJobsGetOrderBy.RUN_START)
    assert len(page) == 5
    one = job.sync(page[0].id, client=staff)
    assert isinstance(one, JobWithRunResponse) and one.id == page[0].id and one.run.filename
    assert latest_run.sync_detailed("mari", client=staff).status_code == 200
    assert specification.sync_detailed("mari", client=staff).status_code == 200
    assert runners.sync(client=staff).additional_properties
    assert extras.sync(client=staff)
    print("check-openapi: 10 calls through the generated client succeeded")


main(sys.argv[1])

"""Uploads bodies with one client library and prints the statuses of the responses, a line each.

usage: upload.py CLIENT URL BYTES...   CLIENT: http.client, requests or aiohttp
"""

import sys
from urllib.parse import urlsplit

HEADERS = {"Content-Type": "application/json"}


def with_http_client(url, body):
    import http.client

    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.request("PUT", parts.path, body=body, headers=HEADERS)
    status = connection.getresponse().status
    connection.close()
    return status


def with_requests(url, body):
    import requests

    return requests.put(url, data=body, headers=HEADERS, timeout=60).status_code


def with_aiohttp(url, body):
    import asyncio

    import aiohttp

    async def put():
        async with aiohttp.ClientSession() as session:
            async with session.put(url, data=body, headers=HEADERS) as response:
                return response.status

    return asyncio.run(put())


CLIENTS = {
    "http.client": with_http_client,
    "requests": with_requests,
    "aiohttp": with_aiohttp,
}

send = CLIENTS[sys.argv[1]]
for size in sys.argv[3:]:
    print(send(sys.argv[2], b"1" * int(size)), flush=True)

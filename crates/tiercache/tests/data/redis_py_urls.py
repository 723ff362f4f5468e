"""Prints what redis-py makes of each URL: `python3 redis_py_urls.py > redis_py_urls.json`.

`refused` is the part that this crate refuses although redis-py accepts the URL (it ignores the
part, or has a feature that this crate lacks). valkey-py reads its schemes as redis-py reads
`redis` and `rediss`.
"""

import json
import redis
from redis.connection import ConnectionPool

URLS = [
    ("redis://localhost", None),
    ("redis://", None),
    ("redis://valkey.valkey.svc.cluster.local:6379/0", None),
    ("redis://Valkey:6380/2", None),
    ("redis://valkey/", None),
    ("redis://valkey//3", None),
    ("redis://valkey/1/2", None),
    ("redis://valkey:0/1", None),
    ("redis://valkey:", None),
    ("redis://valkey?db=2", None),
    ("redis://valkey/1?db=2", None),
    ("redis://valkey?db=", None),
    ("redis://valkey?db=1&db=2", None),
    ("redis://valkey?db=two", None),
    ("redis://valkey/%32", None),
    ("redis://valkey/two", "db"),
    ("redis://valkey/-1", "db"),
    ("redis://:secret@valkey", None),
    ("redis://app:secret@valkey/4", None),
    ("redis://app@valkey", None),
    ("redis://app:@valkey", None),
    ("redis://app:p%40ss%2Fw%3Frd%23@valkey", None),
    ("redis://a%3Ab:c:d@valkey", None),
    ("redis://app:p@ss@valkey", None),
    ("redis://app:%zz@valkey", None),
    ("redis://app:a+b@valkey", None),
    ("redis://valkey?username=app&password=secret", None),
    ("redis://valkey?password=a+b%2Bc", None),
    ("redis://valkey?password=p%2540", None),
    ("redis://app:secret@valkey?username=x&password=y", None),
    ("redis://:secret@valkey?username=app", None),
    ("redis://?host=valkey&port=6380", None),
    ("redis://valkey?host=other", None),
    ("redis://[::1]:6380/1", None),
    ("redis://[2001:DB8::1]", None),
    ("redis://app:secret@[::1]", None),
    ("redis://[::1", None),
    ("redis://::1:6379", None),
    ("redis://valkey:port", None),
    ("redis://valkey:65536", None),
    ("redis://val%2Dkey", None),
    ("redis://valkey:6379/0\n", None),
    ("redis://valkey#fragment", "fragment"),
    ("redis://valkey?socket_timeout=5", "parameter socket_timeout"),
    ("redis://valkey?health_check_interval=30", "parameter health_check_interval"),
    ("redis://valkey?client_name=api", "parameter client_name"),
    ("redis://valkey?protocol=3", "parameter protocol"),
    ("redis://valkey?ssl_cert_reqs=none", None),
    ("redis://valkey?unknown=1", None),
    ("valkey://app:secret@valkey:6380/5", None),
    ("valkeys://valkey?ssl_cert_reqs=none", None),
    ("rediss://valkey", None),
    ("rediss://valkey:6380/2?ssl_cert_reqs=required", None),
    ("rediss://valkey?ssl_cert_reqs=optional", None),
    ("rediss://valkey?ssl_cert_reqs=none", None),
    ("rediss://valkey?ssl_cert_reqs=CERT_NONE", None),
    ("rediss://valkey?ssl_ca_certs=%2Fetc%2Fca.pem", None),
    ("rediss://valkey?ssl_certfile=/c.pem&ssl_keyfile=/k.pem", None),
    ("rediss://valkey?ssl_certfile=/c.pem", None),
    ("rediss://valkey?ssl_keyfile=/k.pem", "ssl_keyfile"),
    ("rediss://valkey?ssl_check_hostname=False", None),
    ("rediss://valkey?ssl_check_hostname=yes", None),
    ("rediss://valkey?ssl_min_version=771", "parameter ssl_min_version"),
    ("rediss://valkey?ssl_ca_path=/etc/ssl", "parameter ssl_ca_path"),
    ("unix:///run/valkey.sock", None),
    ("unix:///run/valkey.sock?db=3", None),
    ("unix://app:secret@/run/val%20key.sock", None),
    ("unix://?path=/run/valkey.sock", None),
    ("unix://", "path"),
    ("unix://run/valkey.sock", "host"),
    ("http://valkey", None),
    ("REDIS://valkey", None),
    ("valkey:6379", None),
    ("", None),
]

FIELDS = [
    "host", "port", "path", "db", "username", "password",
    "cert_reqs", "check_hostname", "ca_certs", "certfile", "keyfile",
]


def outcome(url):
    for scheme in ("valkey", "valkeys"):
        if url.startswith(scheme + "://"):
            url = url.replace("valkey", "redis", 1)
    try:
        connection = ConnectionPool.from_url(url).make_connection()
    except Exception as error:
        return {"error": type(error).__name__}
    fields = {name: getattr(connection, name, None) for name in FIELDS}
    fields["port"] = fields["port"] and int(fields["port"])
    if fields["cert_reqs"] is not None:
        fields["cert_reqs"] = fields["cert_reqs"].name
    return {name: value for name, value in fields.items() if value not in (None, "")}


rows = [{"url": url, "refused": refused, "redis_py": outcome(url)} for url, refused in URLS]
print("[")
print(",\n".join(json.dumps(row) for row in rows))
print("]")

"""Send a package to one board with boto3 alone, and wait for its result.

    python push.py app.ota board-1 my-packages arn:aws:iam::123456789012:role/fleet-packages

It works on AWS (docs/aws.md says what bucket and role must be). It also works on `fleet serve`,
where AWS_ENDPOINT_URL and the fleet's access key lead (docs/service.md), with any bucket and role.
"""

import json
import sys
import time
from pathlib import Path

import boto3

file, thing, bucket, role = sys.argv[1:]
path = Path(file)
data = path.read_bytes()
job = f"{thing}-{time.time_ns()}"
iot, s3 = boto3.client("iot"), boto3.client("s3")

target = iot.describe_thing(thingName=thing)["thingArn"]
s3.put_object(Bucket=bucket, Key=path.name, Body=data)
iot.create_stream(
    streamId=job,
    files=[{"fileId": 0, "s3Location": {"bucket": bucket, "key": path.name}}],
    roleArn=role,
)
offered = {"filepath": path.name, "filesize": len(data), "fileid": 0}
document = {"afr_ota": {"protocols": ["MQTT"], "streamname": job, "files": [offered]}}
iot.create_job(jobId=job, targets=[target], document=json.dumps(document))

shown = ""
while True:
    execution = iot.describe_job_execution(jobId=job, thingName=thing)["execution"]
    details = execution.get("statusDetails", {}).get("detailsMap", {})
    line = f"{execution['status']} {json.dumps(details)}"
    if line != shown:
        print(line)
        shown = line
    if execution["status"] not in ("QUEUED", "IN_PROGRESS"):
        break
    time.sleep(2)
sys.exit(execution["status"] != "SUCCEEDED")

"""Send a package to a group in stages, with boto3 alone: it ends by itself when boards fail.

    python staged_rollout.py app.ota greenhouse my-packages arn:aws:iam::123456789012:role/packages

Three boards are told of it in the first minute. The rate doubles with every three that succeed, up
to a hundred a minute. As soon as half of the boards that have ended failed, and three have ended,
nobody else is told. It works on AWS and on `fleet serve` alike (docs/rollouts.md).
"""

import sys
import time
from pathlib import Path

import boto3

file, group, bucket, role = sys.argv[1:]
path = Path(file)
update = f"{path.stem.replace('.', '-')}-{time.time_ns()}"
iot, s3 = boto3.client("iot"), boto3.client("s3")

target = iot.describe_thing_group(thingGroupName=group)["thingGroupArn"]
s3.put_object(Bucket=bucket, Key=path.name, Body=path.read_bytes())
location = {"s3Location": {"bucket": bucket, "key": path.name}}
made = iot.create_ota_update(
    otaUpdateId=update,
    targets=[target],
    targetSelection="SNAPSHOT",
    protocols=["MQTT"],
    files=[{"fileName": path.name, "fileLocation": location}],
    roleArn=role,
    awsJobExecutionsRolloutConfig={
        "maximumPerMinute": 100,
        "exponentialRate": {
            "baseRatePerMinute": 3,
            "incrementFactor": 2,
            "rateIncreaseCriteria": {"numberOfSucceededThings": 3},
        },
    },
    awsJobAbortConfig={
        "abortCriteriaList": [
            {
                "failureType": "ALL",
                "action": "CANCEL",
                "thresholdPercentage": 50,
                "minNumberOfExecutedThings": 3,
            }
        ]
    },
    awsJobTimeoutConfig={"inProgressTimeoutInMinutes": 60},
)

shown = ""
while True:
    job = iot.describe_job(jobId=made["awsIotJobId"])["job"]
    counts = {
        name.removeprefix("numberOf").removesuffix("Things"): count
        for name, count in job["jobProcessDetails"].items()
        if name.startswith("numberOf") and count
    }
    line = f"{job['status']} {counts}"
    if line != shown:
        print(line)
        shown = line
    if job["status"] not in ("SCHEDULED", "IN_PROGRESS"):
        break
    time.sleep(1)
print(job.get("comment", "every board has ended"))
sys.exit(job["status"] != "COMPLETED")

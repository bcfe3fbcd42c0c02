#!/bin/sh
# Each operation of the control plane once, by the `aws` command, version 1.
#
#     sh control_plane.sh app.ota my-packages \
#         arn:aws:iam::123456789012:role/fleet-packages client.pem
#
# client.pem: a certificate that is registered nowhere yet. It works on `fleet serve`, where
# AWS_ENDPOINT_URL and the fleet's access key lead (docs/service.md), with any bucket and role, and
# a certificate of the fleet's own authority. It makes a thing that no board bears, a group and jobs
# for it, and removes them again. On AWS it costs money, and asks for more rights than docs/aws.md
# gives; DescribeEndpoint says there which --endpoint-url `aws iot-data` and `aws iot-jobs-data`
# want.
set -eu
file=$1 bucket=$2 role=$3 client=$4
board=tour-board group=tour-group policy=tour-policy work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

# Endpoints
aws iot describe-endpoint --endpoint-type iot:Data-ATS

# A board, a group of boards, and what stands beside their names
aws iot create-thing --thing-name $board --attribute-payload '{"attributes": {"floor": "2"}}'
thing=$(aws iot describe-thing --thing-name $board --query thingArn --output text)
aws iot update-thing --thing-name $board --attribute-payload '{"attributes": {"floor": "3"}}'
aws iot list-things --attribute-name floor --attribute-value 3
members=$(aws iot create-thing-group --thing-group-name $group --query thingGroupArn --output text)
aws iot describe-thing-group --thing-group-name $group
aws iot update-thing-group --thing-group-name $group \
    --thing-group-properties thingGroupDescription=lamps
aws iot list-thing-groups
aws iot add-thing-to-thing-group --thing-group-name $group --thing-name $board
aws iot list-things-in-thing-group --thing-group-name $group
aws iot list-thing-groups-for-thing --thing-name $board
aws iot tag-resource --resource-arn "$members" --tags Key=site,Value=north
aws iot list-tags-for-resource --resource-arn "$members"
aws iot untag-resource --resource-arn "$members" --tag-keys site

# Certificates and policies
certificate=$(aws iot create-keys-and-certificate --set-as-active --query certificateArn \
    --output text --certificate-pem-outfile "$work/own.pem" --private-key-outfile "$work/own.key")
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$board" \
    -keyout "$work/board.key" -out "$work/board.csr" 2>/dev/null
signed=$(aws iot create-certificate-from-csr --query certificateId --output text \
    --certificate-signing-request "file://$work/board.csr")
registered=$(aws iot register-certificate-without-ca --certificate-pem "file://$client" \
    --query certificateId --output text)
aws iot describe-certificate --certificate-id "$signed"
aws iot list-certificates
aws iot attach-thing-principal --thing-name $board --principal "$certificate"
aws iot list-thing-principals --thing-name $board
aws iot list-principal-things --principal "$certificate"
aws iot create-policy --policy-name $policy --policy-document '{"Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}'
aws iot get-policy --policy-name $policy
aws iot list-policies
aws iot attach-policy --policy-name $policy --target "$certificate"
aws iot list-attached-policies --target "$certificate"
aws iot detach-policy --policy-name $policy --target "$certificate"
aws iot delete-policy --policy-name $policy
aws iot detach-thing-principal --thing-name $board --principal "$certificate"
for id in "${certificate##*/}" "$signed" "$registered"; do
    aws iot update-certificate --certificate-id "$id" --new-status INACTIVE
    aws iot delete-certificate --certificate-id "$id"
done

# The package, and the stream in which boards read it
aws s3api create-bucket --bucket "$bucket"
aws s3api head-bucket --bucket "$bucket"
aws s3api list-buckets
aws s3api put-object --bucket "$bucket" --key app.ota --body "$file" --checksum-algorithm SHA256
aws s3api head-object --bucket "$bucket" --key app.ota
aws s3api get-object --bucket "$bucket" --key app.ota "$work/app.ota"
cmp "$file" "$work/app.ota"
aws s3api list-objects-v2 --bucket "$bucket"
parts="--bucket $bucket --key parts.ota --upload-id"
upload=$(aws s3api create-multipart-upload --bucket "$bucket" --key parts.ota --query UploadId \
    --output text)
tag=$(aws s3api upload-part $parts "$upload" --part-number 1 --body "$file" --query ETag)
aws s3api list-parts $parts "$upload"
aws s3api complete-multipart-upload $parts "$upload" \
    --multipart-upload "{\"Parts\": [{\"PartNumber\": 1, \"ETag\": $tag}]}"
upload=$(aws s3api create-multipart-upload --bucket "$bucket" --key parts.ota --query UploadId \
    --output text)
aws s3api abort-multipart-upload $parts "$upload"
place="fileId=0,s3Location={bucket=$bucket,key=app.ota}"
aws iot create-stream --stream-id tour-stream --files "$place" --role-arn "$role"
aws iot update-stream --stream-id tour-stream --description "a package"
aws iot describe-stream --stream-id tour-stream
aws iot list-streams

# A job for the group, and for the board by itself
aws iot create-job --job-id tour-job --targets "$members" --target-selection CONTINUOUS \
    --document '{"light": "on"}' --job-executions-rollout-config maximumPerMinute=10
aws iot update-job --job-id tour-job --description "lamps on"
aws iot associate-targets-with-job --job-id tour-job --targets "$thing"
aws iot describe-job --job-id tour-job
aws iot get-job-document --job-id tour-job
aws iot list-jobs
aws iot list-job-executions-for-job --job-id tour-job
aws iot list-job-executions-for-thing --thing-name $board
aws iot describe-job-execution --job-id tour-job --thing-name $board

# What a board asks, by HTTP
aws iot-jobs-data get-pending-job-executions --thing-name $board
aws iot-jobs-data start-next-pending-job-execution --thing-name $board
aws iot-jobs-data describe-job-execution --thing-name $board --job-id tour-job
aws iot-jobs-data update-job-execution --thing-name $board --job-id tour-job --status SUCCEEDED
printf '{"state": {"reported": {"version": "1.0.0"}}}' > "$work/report.json"
aws iot-data update-thing-shadow --thing-name $board --shadow-name ota \
    --payload "file://$work/report.json" "$work/answer.json"
aws iot-data get-thing-shadow --thing-name $board --shadow-name ota "$work/answer.json"
aws iot-data list-named-shadows-for-thing --thing-name $board
aws iot-data delete-thing-shadow --thing-name $board --shadow-name ota "$work/answer.json"

# The end of executions, jobs and streams
aws iot create-job --job-id tour-late --targets "$thing" --document '{"light": "off"}'
aws iot cancel-job-execution --job-id tour-late --thing-name $board
aws iot delete-job-execution --job-id tour-late --thing-name $board --execution-number 1
aws iot cancel-job --job-id tour-job --force
for job in tour-job tour-late; do
    aws iot delete-job --job-id $job --force
done
aws iot delete-stream --stream-id tour-stream

# The same as one operation
aws iot create-ota-update --ota-update-id tour-update --targets "$thing" --role-arn "$role" \
    --files "fileName=app.ota,fileLocation={s3Location={bucket=$bucket,key=app.ota}}"
aws iot get-ota-update --ota-update-id tour-update
aws iot list-ota-updates
aws iot delete-ota-update --ota-update-id tour-update --delete-stream --force-delete-aws-job

aws iot remove-thing-from-thing-group --thing-group-name $group --thing-name $board
aws iot delete-thing-group --thing-group-name $group
aws iot delete-thing --thing-name $board
for key in app.ota parts.ota; do
    aws s3api delete-object --bucket "$bucket" --key $key
done

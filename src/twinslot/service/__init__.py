"""What `fleet serve` runs: job and stream services on MQTT, the HTTP API, the store."""

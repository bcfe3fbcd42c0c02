"""The parts of `fleet serve`: job and stream services on MQTT, the HTTP API, the store."""

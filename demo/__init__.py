"""The whole road on one machine: a broker, the service and a simulated board."""

"""Freezes the agent and its MQTT link into a firmware image: include() it, docs/freezing.md."""

require("umqtt.simple")  # the port's own manifest has it, too; twice is once
package("ota", base_path="firmware")
module("link.py", base_path="firmware")

"""What the commands do against a service: pack, publish, push, watch, provision."""

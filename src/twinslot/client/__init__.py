"""The commands' work against a service: pack, publish, push, watch, provision."""

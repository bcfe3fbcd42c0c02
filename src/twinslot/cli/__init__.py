"""The `fleet` command. Nothing else prints."""

"""Signing keys, certificates, the fleet's authority."""

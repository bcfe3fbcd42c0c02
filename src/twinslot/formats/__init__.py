"""Bytes and their meaning, pure: packages, archives, images, tables, job documents."""

"""The commands that look into package files: inspect, diff."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from twinslot import disk
from twinslot.cli.parts import base_option, read_config
from twinslot.cli.say import say
from twinslot.client import admission, smaller
from twinslot.client import diff as differing
from twinslot.errors import FleetError
from twinslot.firmware import agent
from twinslot.formats import archive, bundle, chips, firmware, image, package
from twinslot.formats.component import ENCODINGS, KINDS, RAW, Component
from twinslot.formats.head import PACKAGE_MAGIC

_FILE = click.Path(path_type=Path, dir_okay=False)


class DiffError(FleetError):
    """A file cannot be compared."""

    exit_code = 2


@click.command()
@click.argument("file", type=_FILE)
@base_option
def inspect(file: Path, base: Path | None) -> None:
    """Show the contents of FILE, a package or a firmware image.

    It exits with 1 unless a package is whole and signed by the key of fleet.toml, or an image one
    that the boards of this project can run.
    """
    data = disk.read(file, "the package")
    if data[:4] != PACKAGE_MAGIC:
        _inspect_image(file, firmware.judge(data))
        return
    bases = {} if base is None else smaller.bases(base)
    head = package.inspect(data, bases)
    manifest = head.manifest
    say(f"{file}: package of {len(data)} bytes")
    rows = [
        ("product", manifest.product),
        ("version", manifest.version),
        ("sequence", str(manifest.sequence)),
        ("created", _date(manifest.created)),
        ("expires", _date(manifest.expires)),
        ("identity", head.identity.hex()),
        ("signed by", f"key {head.kid.hex()}"),
    ]
    if manifest.trust is not None:
        version = f"set {manifest.trust.version}, digest {manifest.trust.digest[:8].hex()}"
        rows.append(("keys", version))
        rows += [("", f"{entry.kid.hex()}  {entry.words}") for entry in manifest.trust.entries]
    for component in manifest.components:
        found = bases.get(component.kind)
        rows += _encoding(component)
        if component.base is None or found is not None:
            rows += _component(component, component.result(data, found))
    for name, value in rows:
        say(f"  {name:<12}{value}")
    admission.judge(head, read_config())
    say("  signature holds")


def _inspect_image(file: Path, found: firmware.Firmware) -> None:
    say(f"{file}: {found.application.summary}")
    say(f"  {found.application.origin}")
    for name, value in found.facts:
        say(f"  {name:<12}{value}")
    for warning in found.warnings:
        say(f"warning: {warning}")
    if found.problem:
        raise image.ImageError(found.problem)


@click.command()
@click.argument("old", metavar="A.ota", type=_FILE)
@click.argument("new", metavar="B.ota", type=_FILE)
def diff(old: Path, new: Path) -> None:
    """Show the differences between two packages.

    It exits with 0 when both bring the same firmware and files, though version, sequence and dates
    may differ, and with 1 when they do not. It checks no signature; `fleet inspect` does that.
    """
    try:
        found = differing.compare(disk.read(old, "the package"), disk.read(new, "the package"))
    except FleetError as error:
        raise DiffError(str(error)) from error
    for line in _difference(found):
        say(line)
    if not found.same_contents:
        click.get_current_context().exit(1)


def _component(component: Component, data: bytes) -> list[tuple[str, str]]:
    name = KINDS[component.kind]
    if component.chip is not None:
        chip = chips.name_of(component.chip)
        return [
            (name, f"{component.size} bytes for {chip}"),
            ("", firmware.judge(data).application.summary),
        ]
    found = [entry for entry in archive.read(data) if not entry.is_directory]
    rows = [(name, f"{component.size} bytes, {len(found)} files")]
    if bundled := archive.contents(data).get(agent.BUNDLE):
        held = bundle.read(bundled)
        said = f"{len(held.modules)} modules; extensions: {', '.join(held.extensions) or 'none'}"
        rows.append(("agent", said))
    return rows + [("", f"{entry.size:>7}  {entry.path}") for entry in found]


def _encoding(component: Component) -> list[tuple[str, str]]:
    """Rows about the way in which a component travels; none where it travels as it is."""
    if component.encoding == RAW:
        return []
    share = 100 * component.length / component.size
    said = f"{ENCODINGS[component.encoding]}, {component.length} of {component.size} bytes"
    rows = [(f"{KINDS[component.kind]}", f"{said}, {share:.1f} %")]
    if component.base is not None:
        kind = "image" if component.chip is not None else "application"
        known = f"the {kind} of {component.base.size} bytes, SHA-256 {component.base.sha256.hex()}"
        rows += [("", f"a delta: only for boards that run {known}")]
    return rows


def _difference(found: differing.Difference) -> Iterator[str]:
    for name, *values in found.fields:
        old, new = (_date(value) if name in ("created", "expires") else value for value in values)
        yield f"  {name:<12}{old} -> {new}"
    before, after = found.firmware
    if before or after:
        text = f"{before or 'none'} -> {after or 'none'}"
        yield f"  {'firmware':<12}{f'the same, {after}' if found.same_firmware else text}"
    if any(found.application):
        had, has = ("some" if there else "none" for there in found.application)
        text = f"{found.unchanged} files the same"
        yield f"  {'application':<12}{text if had == has else f'{had} -> {has}'}"
    for change in found.changes:
        sizes = [str(size) for size in (change.old, change.new) if size is not None]
        yield f"    {change.word:<10}{change.path}  {' -> '.join(sizes)} bytes"
    if found.same_contents:
        yield "  the contents are the same"


def _date(seconds: Any) -> str:
    if seconds is None:
        return "never"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    except (OverflowError, ValueError):
        return f"{seconds} seconds after 1970"

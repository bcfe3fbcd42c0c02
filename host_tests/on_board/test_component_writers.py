"""Every component writer keeps every clause of the contract, and a faulty one does not."""

import component_writer_suite as suite
import contract
import toy_writer
import writer_faults
import writer_kits

ALL = {clause.__name__: clause for clauses in suite.CLAUSES.values() for clause in clauses}


def test_a_slot_by_sector_keeps_the_contract():
    contract.check(ALL, writer_kits.make("slot by sector"))


def test_a_slot_by_64_kb_keeps_the_contract():
    contract.check(ALL, writer_kits.make("slot by 64 KB"))


def test_a_directory_keeps_the_contract():
    contract.check(ALL, writer_kits.make("directory"))


def test_an_encoded_image_keeps_the_contract():
    contract.check(ALL, writer_kits.make("encoded image"))


def test_a_delta_of_an_image_keeps_the_contract():
    contract.check(ALL, writer_kits.make("delta of an image"))


def test_an_encoded_directory_keeps_the_contract():
    contract.check(ALL, writer_kits.make("encoded directory"))


def test_a_delta_of_a_directory_keeps_the_contract():
    contract.check(ALL, writer_kits.make("delta of a directory"))


def test_a_toy_keeps_the_contract():
    contract.check(ALL, writer_kits.make("toy", toy_writer))


def faulty(writer):
    return writer_kits.make("toy", writer_faults.Module(writer))


def test_each_fault_of_a_toy_breaks_the_clause_that_it_is_against():
    missed = []
    for name in writer_faults.FAULTS:
        writer, clause = writer_faults.FAULTS[name]
        if not contract.broken({clause: ALL[clause]}, faulty(writer)):
            missed.append(name)
    assert not missed, missed
    contract.check(ALL, faulty(toy_writer.HexWriter))  # the fault breaks it, nothing else

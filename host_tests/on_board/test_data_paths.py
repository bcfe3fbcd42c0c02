"""Every data path keeps every clause of the contract, and a faulty one does not."""

import contract
import data_path_suite as suite
import path_faults
import path_kits
import toy_path

ALL = {clause.__name__: clause for clauses in suite.CLAUSES.values() for clause in clauses}


def test_an_mqtt_stream_in_cbor_keeps_the_contract():
    contract.check(ALL, path_kits.Stream("cbor"))


def test_an_mqtt_stream_in_json_keeps_the_contract():
    contract.check(ALL, path_kits.Stream("json"))


def test_a_file_keeps_the_contract():
    contract.check(ALL, path_kits.File())


def test_a_cable_keeps_the_contract():
    contract.check(ALL, path_kits.Cable())


def test_a_toy_keeps_the_contract():
    contract.check(ALL, path_kits.Toy(toy_path))


def faulty(path):
    return path_kits.Toy(path_faults.Module(path))


def test_each_fault_of_a_toy_breaks_the_clause_that_it_is_against():
    missed = []
    for name in path_faults.FAULTS:
        path, clause = path_faults.FAULTS[name]
        if not contract.broken({clause: ALL[clause]}, faulty(path)):
            missed.append(name)
    assert not missed, missed
    contract.check(ALL, faulty(toy_path.ToyPath))  # the fault breaks it, nothing else

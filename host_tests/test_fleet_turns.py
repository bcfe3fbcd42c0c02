"""The queues of the service: no thing waits behind another's pile, and no pile grows for ever."""

from hypothesis import given
from hypothesis import strategies as st

from twinslot.service.turns import Turns


def turns(each: int = 3, each_bytes: int = 100, all_bytes: int = 1000) -> Turns[str]:
    return Turns(each=each, each_bytes=each_bytes, all_bytes=all_bytes)


def everything(made: Turns[str]) -> list[str]:
    return [item for _ in range(len(made)) for item in made.round(1)]


def test_things_take_turns_and_each_things_requests_keep_their_order() -> None:
    made = turns()
    for item in ("a1", "a2", "a3", "b1", "c1", "b2"):
        assert made.add(item[0], 1, item)
    assert everything(made) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert not made
    assert made.round(1) == []


def test_a_round_takes_one_request_of_each_of_the_next_things() -> None:
    made = turns()
    for item in ("a1", "a2", "b1", "c1"):
        made.add(item[0], 1, item)
    assert made.round(2) == ["a1", "b1"]
    assert made.round(3) == ["c1", "a2"]


def test_a_request_that_waits_is_known_until_it_is_taken() -> None:
    made = turns()
    made.add("a", 1, "x")
    assert made.waits("a", "x")
    assert not made.waits("a", "y")
    assert not made.waits("b", "x")
    made.round(1)
    assert not made.waits("a", "x")


def test_a_thing_that_asks_again_stands_behind_those_that_wait() -> None:
    made = turns()
    made.add("a", 1, "a1")
    made.add("b", 1, "b1")
    assert made.round(1) == ["a1"]
    made.add("a", 1, "a2")
    assert everything(made) == ["b1", "a2"]


def test_what_one_thing_has_waiting_is_bounded_by_number_and_by_bytes() -> None:
    made = turns(each=3, each_bytes=100)
    assert [made.add("a", 1, "x") for _ in range(5)] == [True, True, True, False, False]
    assert made.add("b", 1, "x")
    assert [made.add("c", 60, "x") for _ in range(2)] == [True, False]
    assert made.add("d", 500, "x"), "one large request is no pile"
    everything(made)
    assert made.add("a", 1, "x"), "who has been answered may ask again"


def test_what_all_things_have_waiting_is_bounded() -> None:
    made = turns(all_bytes=1000)
    assert sum(made.add(str(number), 100, "x") for number in range(50)) == 10
    made.round(1)
    assert made.add("late", 100, "x")
    assert not made.add("later", 100, "x")


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 60)), max_size=60))
def test_nothing_that_was_taken_in_is_lost_and_nobody_is_passed_over_twice(
    asked: list[tuple[str, int]],
) -> None:
    made = turns(each=5, each_bytes=150, all_bytes=400)
    taken = [item for item in enumerate(asked) if made.add(item[1][0], item[1][1], str(item[0]))]
    assert len(made) == len(taken)
    order = [asked[int(item)][0] for item in everything(made)]
    assert sorted(order) == sorted(thing for _, (thing, _) in taken)
    for at, thing in enumerate(order):
        rest = order[at + 1 :]
        if thing in rest:
            between = rest[: rest.index(thing)]
            assert len(set(between)) == len(between), "each other thing has one turn at most"

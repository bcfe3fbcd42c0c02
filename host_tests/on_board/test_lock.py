"""The agent's lock: one thread at a time, and its holder as often as it likes."""

from ota.compat import Lock

try:
    import _thread
except ImportError:
    _thread = None  # a port without threads: there is nobody to keep out


def elsewhere(action):
    """Run `action` in another thread; return what it returns."""
    if _thread is None:
        return None
    import time

    answers = []
    _thread.start_new_thread(lambda: answers.append(action()), ())
    while not answers:
        time.sleep(0.001)
    return answers[0]


def test_its_holder_may_take_it_again_and_holds_it_until_the_last_release():
    lock = Lock()
    with lock:
        assert lock.depth == 1
        with lock:
            assert lock.depth == 2
        assert lock.depth == 1
        assert not elsewhere(lambda: lock.acquire(False))
    assert lock.depth == 0
    assert elsewhere(lambda: lock.acquire(False)) in (True, None)


def test_who_waits_for_it_gets_it_when_it_is_given_back():
    lock = Lock()
    order = []
    with lock:
        if _thread:
            _thread.start_new_thread(lambda: taken(lock, order), ())
        order.append("first")
    while _thread and len(order) < 2:
        pass
    assert order == (["first", "second"] if _thread else ["first"])


def taken(lock, order):
    with lock:
        order.append("second")

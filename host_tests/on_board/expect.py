"""What tests say about errors, where pytest is not there to say it."""


def raises(error, function, *args, **kwargs):
    """Call `function`, which must raise `error` (a class), and return what it raised."""
    try:
        result = function(*args, **kwargs)
    except error as caught:
        return caught
    raise AssertionError("%r instead of %s" % (result, error))

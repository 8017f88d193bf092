"""PettingZoo's own tests of environments."""

import warnings

with warnings.catch_warnings():
    # They import its connect four, by a name that it deprecates, wherever pygame is installed.
    warnings.filterwarnings("ignore", "The old environment creation API", DeprecationWarning)
    from pettingzoo.test import api_test, parallel_api_test, render_test, seed_test

__all__ = ["api_test", "parallel_api_test", "render_test", "seed_test"]

"""Faults a lab can be given: each leaves the API as a real cluster with that fault would show it.

`registry.ALL` lists them; a fault says what to do to the cluster, how to see that it is there, and which check must
name it as the root cause. `inject` keeps a journal, so that `heal` undoes what was done, also after a crash.
"""

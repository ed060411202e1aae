"""Coverage-guided fuzzing of whatever reads bytes that others wrote.

``python -m tests.hostile.fuzz TARGET --seconds N`` fuzzes one target with atheris, beginning
with the files in ``tests/hostile/corpus/TARGET``. A target is a module in ``targets`` with a
function ``try_one``, which is given bytes and raises when the code under test does what it must
not. The same functions are called by the tests beside this folder, which need no atheris.
"""

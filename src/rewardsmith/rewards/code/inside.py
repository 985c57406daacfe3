"""Source texts that run inside the sandbox, behind the program and around the tests' own code."""

CALL = """

def rewardsmith_call(name, *args, **kwargs):
    found = globals().get(name) or getattr(globals()["Solution"](), name.removeprefix("Solution()."))
    return found(*args, **kwargs)
"""
"""Calls a function of the program, or a method of its class Solution."""

TESTS = '''
import ast, builtins, functools, sys, types, unittest

calls = []


class Remote:
    """A function of the program, which runs in another process."""

    def __init__(self, name):
        self.name = name

    def __call__(self, *args, **kwargs):
        calls.append(self.name)
        try:
            return relay(self.name, *args, **kwargs)
        except ModuleNotFoundError as error:  # of the program; one of the tests' own is another matter
            raise ImportError(str(error)) from None


def run(code, candidate):
    """Run the tests; return why they failed, or "", why they say nothing, or "", and the number of calls."""
    failed, stuck = "", ""
    try:
        failed = _run(code, candidate)
    except ModuleNotFoundError as error:
        stuck = f"the tests need {error.name}, which the sandbox lacks"
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"[:300]
    return failed, stuck, len(calls)


def _run(code, candidate):
    tests, solution = types.ModuleType("tests"), types.ModuleType("solution")
    sys.modules.update(tests=tests, solution=solution)
    solution.__getattr__ = Remote
    space = tests.__dict__
    names = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    space.update({name: Remote(name) for name in names if not hasattr(builtins, name)})
    exec(compile(code, "tests.py", "exec"), space)
    if candidate:
        space["check"](Remote(candidate))
    for name, value in list(space.items()):
        if name.startswith("test") and isinstance(value, types.FunctionType):
            value()
        elif isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == "tests":
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromTestCase(value).run(result)
            for _, text in result.failures + result.errors:
                return text.strip().splitlines()[-1][:300]
    return ""
'''
"""Runs test code with the program's functions behind `relay`: assertions, `check`, functions `test…`, TestCases."""

"""Source texts that run inside the sandbox, behind the program and around the tests' own code."""

CALL = """

def rewardsmith_call(name, *args, **kwargs):
    found = globals().get(name) or getattr(globals()["Solution"](), name.removeprefix("Solution()."))
    return found(*args, **kwargs)


def rewardsmith_relayed(name, *args, **kwargs):
    value = rewardsmith_call(name, *args, **kwargs)
    return value, args if value is None else ()
"""
"""Calls a function of the program, or a method of its class Solution; with the arguments that it may have changed."""

TESTS = '''
import ast, builtins, inspect, sys, types, unittest

calls, stuck = [], []


class Stuck(BaseException):
    """The tests cannot be run here. It is noted, too, because unittest catches all exceptions."""

    def __init__(self, why):
        stuck.append(why)


class Remote:
    """A function of the program, which runs in another process."""

    def __init__(self, name):
        self.name = name

    def __call__(self, *args, **kwargs):
        calls.append(self.name)
        try:
            value, changed = relay(self.name, *args, **kwargs)
        except ModuleNotFoundError as error:  # of the program; one of the tests' own is another matter
            raise ImportError(str(error)) from None
        except Exception:
            raise
        except BaseException as error:
            raise Stuck(str(error)) from None
        for old, new in zip(args, changed):  # a function that returns None may have sorted a list in place
            if isinstance(old, (list, bytearray)):
                old[:] = new
            elif isinstance(old, (dict, set)):
                old.clear()
                old.update(new)
        return value

    def __getattr__(self, name):
        if name[:2] == "__" and name != "__bases__":
            raise AttributeError(name)
        raise Stuck(f"the tests use {self.name} of the program for something else than a call")

    __bool__ = __len__ = __iter__ = __int__ = __float__ = __index__ = __enter__ = lambda self: self.used
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __getitem__ = lambda self, other: self.used
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __eq__
    __floordiv__ = __mod__ = __pow__ = __eq__


def attribute(name):
    if name[:2] == "__":
        raise AttributeError(name)
    return Remote(name)


def run(code, candidate):
    """Run the tests; return why they failed, or "", why they say nothing, or "", and the number of calls."""
    failed = ""
    try:
        failed = _run(code, candidate)
    except ModuleNotFoundError as error:
        stuck.append(f"the tests need {error.name}, which the sandbox lacks")
    except Stuck:
        pass
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"[:300]
    return failed, stuck[0] if stuck else "", len(calls)


def _run(code, candidate):
    tests, solution = types.ModuleType("tests"), types.ModuleType("solution")
    sys.modules.update(tests=tests, solution=solution)
    solution.__getattr__ = attribute
    space, tree = tests.__dict__, ast.parse(code)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    space.update({name: Remote(name) for name in names if not hasattr(builtins, name)})
    exec(compile(code, "tests.py", "exec"), space)
    caught = [node.type for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type]
    checks = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    caught += [node.args[0] for node in checks if ast.unparse(node.func).endswith(("aises", "aisesRegex"))]
    for node in [node for kind in caught for node in ast.walk(kind) if isinstance(node, ast.Name)]:
        if isinstance(space.get(node.id), Remote):
            raise Stuck(f"the tests catch {node.id}, an exception of the program")
    if candidate:
        space["check"](Remote(candidate))
    for name, value in list(space.items()):
        if name.startswith("test") and isinstance(value, types.FunctionType):
            called(value)
        elif not isinstance(value, type) or value.__module__ != "tests":
            continue
        elif issubclass(value, unittest.TestCase):
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromTestCase(value).run(result)
            for _, text in result.failures + result.errors:
                return text.strip().splitlines()[-1][:300]
        elif name.startswith("Test"):
            for test in [test for test in dir(value) if test.startswith("test")]:
                own = value()
                for step in [step for step in ("setup_method", test) if hasattr(own, step)]:
                    called(getattr(own, step))
    return ""


def called(test):
    """Call a test as pytest does, but for its fixtures."""
    needed = [one for one in inspect.signature(test).parameters.values() if one.default is one.empty and one.kind < 2]
    if needed or inspect.iscoroutinefunction(test):
        raise Stuck(f"{test.__name__} is async or has parameters, such as fixtures, which only pytest gives")
    test()
'''
"""Runs test code with the program's functions behind `relay`: assertions, `check`, functions `test…`, TestCases."""

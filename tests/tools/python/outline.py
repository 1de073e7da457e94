"""Prints the public API of a generated Python module: what its `__all__` names, with signatures."""

import ast
import sys


def main(path):
    with open(path, encoding="utf-8") as source:
        module = ast.parse(source.read())
    exported = set()
    for node in module.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__":
            exported = set(ast.literal_eval(node.value))
    for node in module.body:
        if getattr(node, "name", None) in exported:
            show(node, 0)
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) in exported:
            print(ast.unparse(node))


def show(node, depth):
    indent = "    " * depth
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        print(f"{indent}class {node.name}({bases})" if bases else f"{indent}class {node.name}")
        for child in node.body:
            show(child, depth + 1)
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and is_public(node.name):
        word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        print(f"{indent}{word} {node.name}({ast.unparse(node.args)}){returns}")
    elif isinstance(node, ast.AnnAssign) and is_public(node.target.id):
        print(f"{indent}{ast.unparse(node)}")
    elif isinstance(node, ast.Assign) and depth and is_public(getattr(node.targets[0], "id", "_")):
        print(f"{indent}{ast.unparse(node)}")


def is_public(name):
    plumbing = name.startswith("_uniffi") or name.startswith("_Uniffi")
    return name == "__init__" or not (name.startswith("_") or plumbing)


if __name__ == "__main__":
    main(sys.argv[1])

"""A small interpreter of the part of Go's text/template that our Modelfiles use, and a reader of Modelfiles."""

from __future__ import annotations

import json
import re
from typing import Any

_ACTION = re.compile(r'(\s*)\{\{(-?)((?:"(?:\\.|[^"\\])*"|[^"{}])*?)(-?)\}\}', re.DOTALL)
_COMMAND = re.compile(r'(\w+) ("""(?s:.*?)"""|[^\n]*)\n')


def read_modelfile(text: str) -> list[tuple[str, str]]:
    """Returns the commands of a Modelfile, as Ollama's parser has them; parameters by their own names."""
    commands = []
    body = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    place = 0
    while place < len(body):
        match = _COMMAND.match(body, place)
        assert match, body[place:]
        name, value = match.groups()
        if name == "PARAMETER":
            match = re.compile(r'PARAMETER (\w+) ("""(?s:.*?)"""|[^\n]*)\n').match(body, place)
            assert match, body[place:]
            name, value = match.groups()
        commands.append((name, value[3:-3] if value.startswith('"""') else value))
        place = match.end()
    return commands


def render(template: str, messages: list[dict[str, str]], system: str = "") -> str:
    """Fills a template in as Ollama does: `.System`, `.Messages` with the system's own among them."""
    if system and (not messages or messages[0]["role"] != "system"):
        messages = [{"role": "system", "content": system}, *messages]
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    actions, end = [], 0
    for match in _ACTION.finditer(template):
        assert not template[end : match.start()].strip(), template[end : match.end()]
        assert match[2] or not match[1], "white space before an action would be rendered"
        actions.append(match[3].strip())
        end = match.end()
    assert end == len(template)
    block, _ = _parse(actions, 0)
    return _run(block, {"$": {"System": system, "Messages": messages}})


def _parse(actions: list[str], place: int) -> tuple[list[Any], int]:
    """Returns a block of actions and of `[keyword, condition, block, else block]`, and where it ends."""
    block: list[Any] = []
    while place < len(actions):
        action = actions[place]
        if action == "end" or action.startswith("else"):
            return block, place
        if action.startswith(("if ", "range ")):
            keyword, condition = action.split(" ", 1)
            inner, place = _parse(actions, place + 1)
            other: list[Any] = []
            if actions[place].startswith("else if "):
                keyword_2, condition_2 = actions[place].removeprefix("else ").split(" ", 1)
                inner_2, place = _parse(actions, place + 1)  # the `end` is that of both
                other = [[keyword_2, condition_2, inner_2, []]]
            elif actions[place] == "else":
                other, place = _parse(actions, place + 1)
            block.append([keyword, condition, inner, other])
        else:
            block.append(action)
        place += 1
    return block, place


def _run(block: list[Any], variables: dict[str, Any]) -> str:
    text = ""
    for node in block:
        if isinstance(node, list):
            keyword, condition, inner, other = node
            if keyword == "range":
                assert condition == "$number, $message := .Messages"
                for number, message in enumerate(variables["$"]["Messages"]):
                    variables |= {"$number": number, "$message": message}
                    text += _run(inner, variables)
            else:
                text += _run(inner if _evaluate(condition, variables) else other, variables)
        elif match := re.fullmatch(r"(\$\w+) :?= (true|false)", node):
            variables[match[1]] = match[2] == "true"
        else:
            text += str(_evaluate(node, variables))
    return text


def _evaluate(expression: str, variables: dict[str, Any]) -> Any:
    if expression.startswith('"'):
        return json.loads(re.sub(r"\\U0000(\w{4})", r"\\u\1", expression))
    if match := re.fullmatch(r'eq \$message\.Role "(\w+)"', expression):
        return variables["$message"]["role"] == match[1]
    if expression == "ne (len (slice $.Messages $number)) 1":
        return len(variables["$"]["Messages"][variables["$number"] :]) != 1
    if expression == "$message.Content":
        return variables["$message"]["content"]
    if expression.startswith("."):
        return variables["$"][expression[1:]]
    return variables[expression]

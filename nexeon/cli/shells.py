"""What makes a shell complete: a script that hands over the line as typed, and what is printed for it.

Click's own scripts break names with a comma, a colon, a quote or a space, and `--option=value`. Here the shell passes
the line up to the cursor, and gets whole words as they are to stand there: kind, word and description, tabs between.
"""

from __future__ import annotations

import os
import re
from typing import Any, Final

from click.shell_completion import CompletionItem, ShellComplete, add_completion_class, split_arg_string

_BASH: Final = """\
%(complete_func)s() {
    local kind word words=()
    COMPREPLY=()
    while IFS=$'\\t' read -r kind word _; do
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$word") ;;
        esac
    done < <(NEXEON_LINE="${COMP_LINE:0:COMP_POINT}" NEXEON_TAIL="${COMP_WORDS[COMP_CWORD]}" \\
        %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH: Final = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local line kind word words_
    local -a plain described
    (( ! $+commands[%(prog_name)s] )) && return 1
    while IFS= read -r line; do
        kind=${line%%%%$'\\t'*}
        line=${line#*$'\\t'}
        word=${line%%%%$'\\t'*}
        words_=${line#*$'\\t'}
        case $kind in
            dir) [[ -n $word ]] && compset -P '*='; _path_files -/ ;;
            file) [[ -n $word ]] && compset -P '*='; _path_files -f ;;
            plain) [[ -n $words_ ]] && described+=("${word//:/\\\\:}:$words_") || plain+=("$word") ;;
        esac
    done < <(NEXEON_LINE="${(j: :)words[1,CURRENT-1]} $QIPREFIX$PREFIX" %(complete_var)s=zsh_complete %(prog_name)s)
    (( $#described )) && _describe -V unsorted described -U
    (( $#plain )) && compadd -U -V unsorted -a plain
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH: Final = """\
function %(complete_func)s
    set -l line (commandline -cp | string join ' ')
    for found in (NEXEON_LINE="$line" %(complete_var)s=fish_complete %(prog_name)s)
        set -l parts (string split -m 2 \\t -- $found)
        switch $parts[1]
            case dir
                __fish_complete_directories (string replace -- "$parts[2]" '' (commandline -ct))
            case file
                for path in (__fish_complete_path (string replace -- "$parts[2]" '' (commandline -ct)))
                    echo -- "$parts[2]$path"
                end
            case plain
                string join \\t -- $parts[2..]
        end
    end
end

complete --no-files --keep-order --command %(prog_name)s --arguments "(%(complete_func)s)"
"""

_SPECIAL: Final = re.compile(r"([^\w@%+=:,./~-])", re.ASCII)
"""What a shell takes for more than itself."""

_QUOTED: Final = re.compile(r'([\\"$`!])')
"""The same between double quotes."""


class _Whole(ShellComplete):
    """`NEXEON_LINE` is the line up to the cursor."""

    typed = ""
    """The last word as it stands there, and the part of it before the value of `--option=`."""
    option = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        before, self.typed = _last(os.environ["NEXEON_LINE"])
        word = "".join(split_arg_string(self.typed)[:1])
        name, equals, _ = word.partition("=")
        self.option = name + equals if equals and name.startswith("--") else ""
        return split_arg_string(before)[1:], word

    def format_completion(self, item: CompletionItem[Any]) -> str:
        word = self.option if item.type != "plain" else self.shown(self.option + str(item.value))
        return "\t".join((item.type, word, _line(item.help or "")))

    def shown(self, word: str) -> str:
        return word


class Bash(_Whole):
    """Takes the place of `NEXEON_TAIL`, which begins after a colon or an equals sign, in the quotes that are open."""

    name = "bash"
    source_template = _BASH

    def shown(self, word: str) -> str:
        quote = self.typed[:1]
        if quote == '"':
            return _QUOTED.sub(r"\\\1", word)
        if quote == "'":
            return word.replace("'", "'\\''")
        word = _SPECIAL.sub(r"\\\1", word)
        tail = os.environ.get("NEXEON_TAIL", self.typed)
        kept = self.typed.removesuffix(tail) if tail not in (":", "=") else self.typed
        return word.removeprefix(kept)


class Zsh(_Whole):
    name = "zsh"
    source_template = _ZSH


class Fish(_Whole):
    name = "fish"
    source_template = _FISH


SHELLS: Final = {kind.name: add_completion_class(kind) for kind in (Bash, Zsh, Fish)}


def _last(line: str) -> tuple[str, str]:
    """The line before its last word, and that as it was typed; "" after a space."""
    begin, quote, escaped = 0, "", False
    for at, char in enumerate(line):
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace():
            begin = at + 1
    return line[:begin], line[begin:]


def _line(words: str) -> str:
    return " ".join(words.split())

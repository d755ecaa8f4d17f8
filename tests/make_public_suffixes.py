"""Makes includes/public_suffixes.jinja from the package that the rendered project uses.

Run it after an update of `publicsuffixlist` in the locks: python tests/make_public_suffixes.py
"""

from pathlib import Path

import publicsuffixlist

OUTPUT = Path(__file__).parent.parent / "includes/public_suffixes.jinja"

TEXT = """\
{{#- Made by tests/make_public_suffixes.py from publicsuffixlist {version}: do not edit.

The list is Mozilla's, https://publicsuffix.org/list/, under the terms of the Mozilla Public
License, v. 2.0, https://mozilla.org/MPL/2.0/. It is one text because Jinja takes forty times as
long to compile a list. -#}}

{{%- set rules = '
{rules}
' -%}}

{{#- Whether anyone can get a name right under a host (https://publicsuffix.org/list/, "Formal
algorithm", without its rule for names that are not in the list). -#}}
{{%- macro is_public_suffix(host) -%}}
{{%- set under_wildcard = '\\n*.' ~ host.partition('.')[2] ~ '\\n' in rules -%}}
{{%- set listed = '\\n' ~ host ~ '\\n' in rules or '\\n*.' ~ host ~ '\\n' in rules -%}}
{{{{ 'yes' if (listed or under_wildcard) and '\\n!' ~ host ~ '\\n' not in rules }}}}
{{%- endmacro -%}}
"""


def read_rules() -> list[str]:
    """Return the list's rules in their order, international names as browsers send them."""
    lines = Path(publicsuffixlist.PSLFILE).read_text(encoding="utf-8").splitlines()
    rules = [line.split()[0] for line in lines if line.strip() and not line.startswith("//")]
    return [rule if rule.isascii() else publicsuffixlist.encode_idn(rule) for rule in rules]


def make() -> str:
    return TEXT.format(version=publicsuffixlist.__version__, rules="\n".join(read_rules()))


if __name__ == "__main__":
    OUTPUT.write_text(make(), encoding="utf-8")

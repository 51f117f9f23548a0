"""The `heed` command: what senders and operators do from a terminal.

Laws:
- Exit codes are those of `exits`, docs/cli.md lists them, and only an "allowed" exits with 0 from
  `heed check` of one message.
- Answers go to stdout, everything else to stderr; with `--json` stdout is JSON and nothing else.
- What needs rich, reflection or the network is imported where it is used.
"""

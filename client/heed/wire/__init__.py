"""The border between messages of the contract and heed's values; nothing else reads a message.

- `limits`: every bound of a request and of an answer.
- `violations`: the wrong fields of a request, all of them, by path.
- `values`: the words of types.proto, read: subjects, scopes, origins, choices.
- `asked`: the requests as values.
- `parse`, `parse_admin`, `parse_import`: messages of requests to `asked`, whatever bytes arrive.
- `format`: values to messages of answers.
- `encoded`: the answers of a Check, as bytes.
- `status`: errors to google.rpc.Status and back.
"""

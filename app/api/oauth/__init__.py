"""OAuth 2.0 for the REST API: tokens for people and for programs.

`models` are the tables; `tokens`, `clients`, `sign_ins` and `scopes` the rules; `server` and `grants` what Authlib is
told of them; `views` the addresses under `/login/oauth2`; `pages` what people see of their tokens within a launch;
`commands` what administrators do.
"""

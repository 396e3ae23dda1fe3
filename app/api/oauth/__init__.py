"""OAuth 2.0 for the REST API: tokens for people and for programs.

models      the tables: programs, tokens, codes, sign-ins, used assertions
tokens, codes, clients, sign_ins, scopes    the rules of each; admission says whose still count
server, grants, assertions    what Authlib is told of them
views       the addresses under `/login/oauth2`
pages, forms    what people see of their tokens within a launch
commands    what whoever runs the tool does
"""

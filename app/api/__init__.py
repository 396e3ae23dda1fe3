"""The REST API under `/api/v1`, shaped like Canvas's own *AI Experiences* API, and its OAuth 2.0 tokens.

endpoints   declares an endpoint: its path, scope, shapes and refusals, from which routes and OpenAPI are made
caller      who asks: the bearer of a token, or the person of a launch, in the course that the path names
bodies      reads what was sent; paging cuts lists into pages; answers writes JSON; errors does so for refusals
limits      how much a token may ask for
shapes      what goes in and out, field by field; refusals do so for errors
experiences, conversations, chat    the endpoints
openapi     the document of them, with its schemas; docs serves it and the page that shows it
oauth/      clients, tokens and the ways to get one
"""

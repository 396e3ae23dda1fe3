"""All that speaks LTI.

Here is what a launch takes: `login` and `launch` with `key_sets`, `claims` with `roles`, and the `sessions` in which
its pages live; `tool` and `canvas` say what the tool asks of platforms. The packages: `registration` of platforms,
their `services`, `deep_linking`, and the `setup` page. `wiring` puts them into an application.
"""

// Shows the API's OpenAPI document with Swagger UI, whose own script has run before this one.

const place = document.querySelector("[data-openapi]");
const answer = await fetch(place.dataset.openapi);

window.SwaggerUIBundle({
  domNode: place,
  spec: withPastedTokens(await answer.json()),
  validatorUrl: null,
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
});

// A token that somebody pastes is all that the page asks for: a program's secret and a launch's cookie do not belong here.
function withPastedTokens(specification) {
  const { token } = specification.components.securitySchemes;
  specification.components.securitySchemes = { token };
  specification.security = [{ token: [] }];
  for (const path of Object.values(specification.paths)) {
    for (const operation of Object.values(path)) {
      delete operation.security;
    }
  }
  return specification;
}

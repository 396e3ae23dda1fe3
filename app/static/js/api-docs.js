// Shows the API's OpenAPI document with Swagger UI, whose own script has run before this one.

const place = document.querySelector("[data-openapi]");

window.SwaggerUIBundle({
  domNode: place,
  url: place.dataset.openapi,
  validatorUrl: null,
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
});

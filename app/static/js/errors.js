// What people are told of an error, with its reference where whoever runs the tool has to look for it.
export function sentenceOf(response, { error, reference_id: reference }) {
  const { reference: text } = document.querySelector("[data-chat]").dataset;
  return response.status < 500 ? error : `${error} ${text.replace("{reference}", reference)}`;
}

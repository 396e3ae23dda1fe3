// The hidden frame to which tools address platform storage.
import { answerStorage, listenTo } from "./platform-storage.js";

listenTo(document.body.dataset.toolOrigin, answerStorage);

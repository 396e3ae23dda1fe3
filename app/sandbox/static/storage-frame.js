// The hidden frame to which tools address platform storage.
import { answerStorage, listenTo } from "./platform-storage.js";

const { storage, toolOrigins } = document.body.dataset;

if (storage !== "silent") listenTo(toolOrigins.split(" "), answerStorage);

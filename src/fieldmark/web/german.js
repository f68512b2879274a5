export const GERMAN = {};

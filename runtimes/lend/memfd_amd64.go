package lend

const sysMemfdCreate = 319

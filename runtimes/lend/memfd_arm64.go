package lend

const sysMemfdCreate = 279

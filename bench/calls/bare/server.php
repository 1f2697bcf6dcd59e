<?php
header('Content-Length: 5');
header('Content-Type: text/plain');
echo 'hello';

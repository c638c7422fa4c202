<?php
header("Content-Type: text/plain");
echo "hello from PHP on ", gethostname(), ", ", php_sapi_name(), "\n";

module verdictd/tools/pages

go 1.26.0

module nanonap

go 1.19

# What the machine tells labctl by its first serial port: one JSON object a line, and the ends of logs.

function Send-Line([string[]]$Lines) {
    $port = New-Object -TypeName System.IO.Ports.SerialPort -ArgumentList 'COM1', 115200
    $port.Encoding = New-Object -TypeName System.Text.UTF8Encoding -ArgumentList $false
    $port.NewLine = "`r`n"
    $port.Open()
    try {
        foreach ($line in $Lines) { $port.WriteLine($line) }
    } finally {
        $port.Close()
    }
}

function Send-Report([hashtable]$Report) {
    Send-Line ('@labctl ' + (ConvertTo-Json -InputObject $Report -Compress))
}

function Send-Log([string]$Path) {
    if (Test-Path -LiteralPath $Path) {
        Send-Line (@("@labctl-log $Path") + @(Get-Content -LiteralPath $Path -Tail 200) + '@labctl-end')
    }
}

# The last words of a script that cannot go on: labctl stops waiting at once.
function Send-Failure([string]$Text) {
    foreach ($log in 'C:\Windows\Panther\setuperr.log', 'C:\Windows\Panther\UnattendGC\setuperr.log',
        'C:\Windows\System32\Sysprep\Panther\setuperr.log', 'C:\Windows\INF\setupapi.dev.log') {
        Send-Log $log
    }
    Send-Report @{ failed = $Text }
}

# Runs a program of the system and stops where it says no. 3010 only asks for a restart, which sysprep makes anyway;
# with 259, pnputil says that the machine has that driver already.
function Invoke-Program([string]$Program, [string[]]$Arguments) {
    $process = Start-Process -FilePath $Program -ArgumentList $Arguments -Wait -PassThru -NoNewWindow
    if ($process.ExitCode -notin 0, 259, 3010) {
        throw "$Program $Arguments ended with code $($process.ExitCode)"
    }
}

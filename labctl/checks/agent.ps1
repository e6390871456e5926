# Runs on a Windows node, sent over SSH: performs tasks given as JSON and prints their raw results as JSON.
#
# It is for Windows PowerShell 5.1, decides nothing, and caps what it keeps. Parameters are members of $Task, never
# parts of a script or a query. The files beside it hold more tasks; those that are needed are put below this one.

$Limit = 65536  # letters kept of each output
$Budget = 900000  # letters of all that is printed, less than what is read at the other end
$Workers = 8

# As the C runtime of Windows splits a command line again: backslashes count double before a mark only.
function Join-Argument([string[]]$Words) {
    $told = foreach ($word in $Words) {
        if ($word -ne '' -and $word -notmatch '[\s"]') { $word; continue }
        $marked = [regex]::Replace($word, '(\\*)"', '$1$1\"')
        '"' + [regex]::Replace($marked, '(\\+)$', '$1$1') + '"'
    }
    @($told) -join ' '
}

# A program that floods must neither fill the memory nor stop: the rest is read and thrown away.
function Wait-Program($Process, $Streams, [int]$Milliseconds) {
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while (-not ($Process.HasExited -and -not ($Streams | Where-Object { -not $_.Rest.IsCompleted }))) {
        foreach ($stream in $Streams) {
            if ($stream.First.IsCompleted -and -not $stream.Draining) {
                $stream.Draining = $true
                $stream.Rest = $stream.Reader.BaseStream.CopyToAsync([IO.Stream]::Null)
            }
        }
        if ($watch.ElapsedMilliseconds -gt $Milliseconds) { return $false }
        [void]$Process.WaitForExit(20)
        if ($Process.HasExited) { Start-Sleep -Milliseconds 20 }
    }
    return $true
}

function Read-Stream($Reader) {
    $buffer = New-Object -TypeName char[] -ArgumentList $Limit
    $first = $Reader.ReadBlockAsync($buffer, 0, $Limit)
    @{ Reader = $Reader; Buffer = $buffer; First = $first; Rest = $first; Draining = $false }
}

function Invoke-Run($Task) {
    $start = New-Object -TypeName Diagnostics.ProcessStartInfo
    $start.FileName = $Task.argv[0]
    $start.Arguments = Join-Argument @($Task.argv | Select-Object -Skip 1)
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    try {
        $process = [Diagnostics.Process]::Start($start)
    } catch [ComponentModel.Win32Exception] {
        return @{ error = "not installed: $($Task.argv[0])" }
    }
    $process.StandardInput.Close()
    $out = Read-Stream $process.StandardOutput
    $err = Read-Stream $process.StandardError
    if (-not (Wait-Program $process @($out, $err) ($Task.timeout * 1000))) {
        & taskkill.exe /T /F /PID $process.Id 2>&1 | Out-Null
        return @{ error = 'timeout' }
    }
    @{
        code = $process.ExitCode
        out = New-Object -TypeName string -ArgumentList $out.Buffer, 0, $out.First.Result
        err = New-Object -TypeName string -ArgumentList $err.Buffer, 0, $err.First.Result
    }
}

# Code 0: open; 1: refused, filtered or out of reach; 2: the name is unknown.
function Invoke-Tcp($Task) {
    try {
        $address = @([Net.Dns]::GetHostAddresses($Task.host))[0]
    } catch {
        return @{ code = 2; err = "$_" }
    }
    $client = New-Object -TypeName Net.Sockets.TcpClient -ArgumentList $address.AddressFamily
    try {
        $attempt = $client.ConnectAsync($address, [int]$Task.port)
        if (-not $attempt.Wait([int]$Task.timeout * 1000)) { return @{ code = 1; err = 'timed out' } }
        return @{ code = 0; out = 'open' }
    } catch {
        return @{ code = 1; err = $_.Exception.GetBaseException().Message }
    } finally {
        $client.Close()
    }
}

# Code 0: answered; 1: no answer; 2: the name is unknown.
function Invoke-Ping($Task) {
    try {
        $address = @([Net.Dns]::GetHostAddresses($Task.host))[0]
    } catch {
        return @{ code = 2; err = "$_" }
    }
    $ping = New-Object -TypeName Net.NetworkInformation.Ping
    foreach ($try in 1..3) {
        try {
            $answer = $ping.Send($address, [int]$Task.timeout * 1000)
        } catch {
            # Without a way to the address, Windows sends nothing and says so.
            return @{ code = 1; err = $_.Exception.GetBaseException().Message }
        }
        if ($answer.Status -eq 'Success') { return @{ code = 0; out = "$($answer.RoundtripTime) ms" } }
    }
    @{ code = 1; err = "$($answer.Status)" }
}

# Perform one task in a space of its own; what it returns last is its result.
function Invoke-Task($Task) {
    $ErrorActionPreference = 'Stop'
    $ProgressPreference = 'SilentlyContinue'
    $watch = [Diagnostics.Stopwatch]::StartNew()
    try {
        $result = @(& "Invoke-$($Task.do)" $Task)[-1]
    } catch [Management.Automation.CommandNotFoundException] {
        $result = @{ error = "not installed: $($_.Exception.CommandName)" }
    } catch {
        $result = @{ code = 2; err = $_.Exception.Message }
    }
    $result.seconds = $watch.Elapsed.TotalSeconds
    $result
}

# ASCII whatever the code page of the console is: JSON can name every letter.
function ConvertTo-Reply($Result, [int]$Longest) {
    $cut = @{ seconds = [double]$Result.seconds }
    if ($null -ne $Result.code) { $cut.code = [int]$Result.code }
    foreach ($key in 'out', 'err', 'error') {
        $text = "$($Result.$key)"
        if ($text) { $cut.$key = $text.Substring(0, [Math]::Min($text.Length, $Longest)) }
    }
    $json = ConvertTo-Json -InputObject $cut -Compress
    [regex]::Replace($json, '[^\x20-\x7e]', { param($letter) '\u{0:x4}' -f [int][char]$letter.Value })
}

function Wait-Result($Work, [int]$Milliseconds) {
    if (-not $Work.Handle.AsyncWaitHandle.WaitOne($Milliseconds)) { return @{ error = 'timeout'; seconds = 0 } }
    try {
        return @($Work.Shell.EndInvoke($Work.Handle))[-1]
    } catch {
        return @{ error = "$_"; seconds = 0 }
    }
}

# Perform tasks side by side and print their results in the same order; what still hangs at the end is given up.
function Invoke-Round([string]$Functions, [string]$Encoded, [int]$Seconds) {
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $json = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($Encoded))
    $pool = [RunspaceFactory]::CreateRunspacePool(1, $Workers)
    $pool.Open()
    $works = foreach ($task in (ConvertFrom-Json -InputObject $json).tasks) {
        $shell = [PowerShell]::Create()
        $shell.RunspacePool = $pool
        [void]$shell.AddScript($Functions, $false).AddStatement().AddCommand('Invoke-Task').AddArgument($task)
        @{ Shell = $shell; Handle = $shell.BeginInvoke() }
    }
    $results = foreach ($work in $works) {
        Wait-Result $work ([Math]::Max(0, $Seconds * 1000 - $watch.ElapsedMilliseconds))
    }
    $longest = $Limit
    do {
        $told = '[' + (@($results | ForEach-Object { ConvertTo-Reply $_ $longest }) -join ',') + ']'
        $longest = [Math]::Floor($longest / 2)
    } while ($told.Length -gt $Budget -and $longest -gt 64)
    [Console]::Out.Write($told)
    [Console]::Out.Flush()
    [Environment]::Exit(0)
}

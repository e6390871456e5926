# Runs a script of labctl's; before these lines, $script holds it in base64. On a domain controller the system runs it:
# a login by a key brings no credentials along, without which the directory answers nobody, not even on its own machine.

function Copy-Output([string]$Path, [IO.Stream]$Target) {
    if (Test-Path -LiteralPath $Path) {
        $bytes = [IO.File]::ReadAllBytes($Path)
        $Target.Write($bytes, 0, $bytes.Length)
        $Target.Flush()
    }
}

# The code of a task that has ended; the others say that it has not begun, runs, or waits for its turn.
function Wait-TaskResult([string]$Name) {
    do {
        Start-Sleep -Milliseconds 200
        $code = (Get-ScheduledTaskInfo -TaskName $Name).LastTaskResult
    } while ($code -in 0x41303, 0x41301, 0x41325)
    $code
}

function Invoke-AsSystem([string]$Script) {
    $name = "labctl-$([guid]::NewGuid().ToString('N'))"
    # Below the profile of the Administrator: nobody but he, other administrators and the system reads it.
    $folder = Join-Path -Path ([IO.Path]::GetTempPath()) -ChildPath $name
    New-Item -ItemType Directory -Path $folder | Out-Null
    try {
        @(
            "`$ErrorActionPreference = 'Stop'; `$ProgressPreference = 'SilentlyContinue'"
            "`$labctl = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('$Script'))"
            '& ([ScriptBlock]::Create($labctl))'
            'if (-not $?) { exit 1 }'
        ) | Set-Content -LiteralPath "$folder\script.ps1" -Encoding ascii
        $program = "powershell.exe -NoProfile -NonInteractive -ExecutionPolicy Bypass -File `"$folder\script.ps1`""
        $action = New-ScheduledTaskAction -Execute 'cmd.exe' `
            -Argument "/c `"$program >`"$folder\out`" 2>`"$folder\err`"`""
        $system = New-ScheduledTaskPrincipal -UserId 'S-1-5-18' -LogonType ServiceAccount -RunLevel Highest
        $settings = New-ScheduledTaskSettingsSet -ExecutionTimeLimit (New-TimeSpan -Minutes 30)
        Register-ScheduledTask -TaskName $name -Action $action -Principal $system -Settings $settings | Out-Null
        Start-ScheduledTask -TaskName $name
        $code = Wait-TaskResult $name
        Copy-Output "$folder\out" ([Console]::OpenStandardOutput())
        Copy-Output "$folder\err" ([Console]::OpenStandardError())
        $code
    } finally {
        Unregister-ScheduledTask -TaskName $name -Confirm:$false -ErrorAction SilentlyContinue
        Remove-Item -LiteralPath $folder -Recurse -Force -ErrorAction SilentlyContinue
    }
}

if ((Get-ItemProperty -Path 'HKLM:\SYSTEM\CurrentControlSet\Control\ProductOptions').ProductType -eq 'LanmanNT') {
    exit (Invoke-AsSystem $script)
}
& ([ScriptBlock]::Create([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($script))))

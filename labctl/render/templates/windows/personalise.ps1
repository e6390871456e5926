# Gives a clone that was loaded from memory what is its own; before this line, $data holds its values.
$ErrorActionPreference = 'Stop'
try {
    $own = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($data)) | ConvertFrom-Json
    $clock = [DateTimeOffset]::FromUnixTimeMilliseconds($own.now).LocalDateTime
    Set-Date -Date $clock | Out-Null
    # sshd reads this file at each login; its rights stay.
    [IO.File]::WriteAllText("$env:ProgramData\ssh\administrators_authorized_keys", $own.authorized_keys)
    # On a domain controller the Administrator is the domain's: the directory's secret gives his password, for members too.
    if ((Get-CimInstance -ClassName Win32_ComputerSystem).DomainRole -lt 4) {
        # By his number: his name depends on the language.
        $filter = "SID LIKE 'S-1-5-21-%-500' AND LocalAccount = TRUE"
        $account = Get-CimInstance -ClassName Win32_UserAccount -Filter $filter | Select-Object -First 1
        $entry = [ADSI]"WinNT://./$($account.Name),user"
        $entry.SetPassword($own.password)
    }
    foreach ($name in $own.leased) {
        & ipconfig.exe /renew $name | Out-Null
    }
} catch {
    Write-Output "$_"
    exit 1
}
exit 0
